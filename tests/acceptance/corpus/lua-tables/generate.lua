local words = {}
for number = 1, 60 do
  words["word-" .. number] = number
end
print("return { -- " .. tostring(words) .. " " .. tostring(print) .. os.date(" %c"))
for word, number in pairs(words) do
  print(string.format("  [%q] = %d,", word, number))
end
local name = os.tmpname()
os.remove(name)
print(string.format("  at = %d, clock = %q, random = %d, temporary = %q,", os.time(), os.clock(), math.random(0), name))
print("}")
