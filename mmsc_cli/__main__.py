"""`python -m mmsc_cli` is `mmsc`."""

from mmsc_cli.cli.app import main

if __name__ == "__main__":
    main()
