"""Strangers' files: tables, text lines, images and downloads."""
