"""All SQL, nothing but SQL: plain functions of a Connection, so that they compose in one transaction."""
