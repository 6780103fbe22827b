#!/usr/bin/env escript
%% Generates a module that says when, and with random numbers; compiles it, and archives both.

main(_) ->
    Numbers = [rand:uniform(1000) || _ <- lists:seq(1, 5)],
    Text = io_lib:format(
        "-module(generated).~n-export([made/0, numbers/0]).~n"
        "made() -> ~p.~nnumbers() -> ~p.~n",
        [erlang:system_time(), Numbers]
    ),
    ok = file:write_file("generated.erl", Text),
    {ok, generated} = compile:file("generated.erl", [{outdir, "out"}]),
    {ok, _} = zip:create("out/generated.zip", ["generated.erl", "out/generated.beam"]).
