"""What each command does with its configuration; configuration stops here."""
