"""Full-size proofs: what the tests show on a sample, on everything. `make prove` runs them."""
