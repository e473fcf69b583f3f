"""What reads input of unknown origin, as functions of bytes: the tests and the campaign `fuzz` call the same ones."""
