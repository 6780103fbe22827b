let () = List.iter (fun (word, number) -> Printf.printf "%s %d\n" word number) Table.table
