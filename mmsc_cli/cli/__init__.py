"""The command line: thin Typer modules over the library. Nothing outside this folder knows Typer or Rich."""
