"""What is done about jobs: submit them, poll them, and put their ends through the inbox."""
