"""Files from the network: downloads, images by address, and which hosts may be asked."""
