"""What result files hold, as plain values that figures and pages are made from."""
