let () =
  Hashtbl.randomize ();
  Random.self_init ();
  let words = Hashtbl.create 16 in
  for number = 1 to 60 do
    Hashtbl.replace words (Printf.sprintf "word-%d" number) number
  done;
  print_endline "let table = [";
  Hashtbl.iter (fun word number -> Printf.printf "  (%S, %d);\n" word number) words;
  Printf.printf "]\nlet random = %d\nlet built = %f\nlet pid = %d\n" (Random.bits ())
    (Unix.gettimeofday ()) (Unix.getpid ());
  let name = Filename.basename (Filename.temp_file "word" ".ml") in
  Printf.printf "let name = %S\n" name
