"""From noise to latents: schedules, objectives, samplers, guidance, and the pipeline that joins them."""
