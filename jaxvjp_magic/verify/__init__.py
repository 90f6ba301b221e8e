"""`--verify`: a rule's values beside those of autodiff and of finite differences."""
