"""What keeps a store clean and sound: collect, sweep, verify. One file each."""
