"""Every system call that touches a store, made to fail or to be the last: what the caller is told, and what is left."""
