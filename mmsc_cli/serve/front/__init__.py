"""What a request meets before the application: connections, who may ask, what is counted, the shortest way."""
