"""What keeps a store clean and sound: expiring, collecting, verifying, repairing; and what repair knows of losses."""
