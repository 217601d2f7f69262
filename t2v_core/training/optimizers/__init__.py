"""What takes the steps of a training: AdamW, the same with its moments in 8 bits, and Muon."""
