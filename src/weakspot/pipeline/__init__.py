"""Train, infer, discover: functions on objects; configuration stops one floor above."""
