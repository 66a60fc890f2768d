"""What a user reads: facts of a build, pages, charts."""
