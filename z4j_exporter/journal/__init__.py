"""The journal: keeps what the capture hook tells of each message, for those who send it again."""
