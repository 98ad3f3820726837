"""What each command does: typed settings in, a typed result out, nothing printed."""
