"""A store in plain Python: what the database means, without SQL, for thousands of whole rollouts a minute."""
