"""What the tests share: real servers, a faulty network, certificates."""
