"""One script per claim that the README makes; each measures ours and a peer in one run."""
