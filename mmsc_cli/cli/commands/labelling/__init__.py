"""Labels of pairs: by an annotator, and by hand."""
