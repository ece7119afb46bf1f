"""What a network has to beat: boosted trees, 27 classifiers, texture features."""
