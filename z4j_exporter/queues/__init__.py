"""What waits on the broker: polled in the background, served from memory."""
