"""What a run leaves: `record`, its numbers and scores, in the form of `schema`; `thumbnails`; one `page` to read."""
