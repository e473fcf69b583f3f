"""Hand-written rules over metadata: an annotator, and a teacher."""
