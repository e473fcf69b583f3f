"""Guess from files alone what each of them is, and write the recipe that reads them."""
