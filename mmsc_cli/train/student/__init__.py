"""The student: learns from behaviour, rules and labels which pairs are true, and answers for every candidate pair."""
