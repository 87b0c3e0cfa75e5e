-- KEYS: the instances, then limits. ARGV: wants, of which nothing is taken. Answers for each what is used,
-- what of that is only reserved (-1: isn't kept apart), and microseconds until all is there again (-1: nobody knows).
local seen = {}
for at = 1, #KEYS - 1 do
  local w = want(at)
  open(w)
  seen[#seen + 1] = used(w)
  seen[#seen + 1] = w.kind == PLACES and used(w) or w.warn > 0 and math.min(used(w), w.state.held or 0) or -1
  seen[#seen + 1] = reset(w)
end
return seen
