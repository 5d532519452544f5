"""goosebit, a hawkBit-compatible update server that devices poll over HTTP: installed, run and driven."""
