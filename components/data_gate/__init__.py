"""DataGate: stops the run when the data breaks its schema, and says per column what was found."""
