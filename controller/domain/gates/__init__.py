"""When a stage must stop and when it may go on, by evidence that holds at every look."""
