term_expansion(seen, [seen(Time), seen(Number), seen(Process)]) :-
    get_time(Time), Number is random(1 << 60), current_prolog_flag(pid, Process).

:- dynamic seen/1.
seen.

main :- forall(seen(X), (print(X), nl)).
:- initialization(main, main).
