"""What a video is drawn with: a checkpoint of ours or an open model, asked the same things."""
