program small;
begin
  writeln('built ', {$I %DATE%}, ' ', {$I %TIME%});
end.
