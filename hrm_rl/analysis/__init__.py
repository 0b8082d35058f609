"""What a trained model does, segment by segment: recordings, tables, figures."""
