"""Work beside the screen: launches, transfers and subscriptions in threads that report by events."""
