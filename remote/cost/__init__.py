"""What a VM costs: prices with a date, the meter that runs, and the ledger of what was spent."""
