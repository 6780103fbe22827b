{-# LANGUAGE TemplateHaskell #-}
module Main (main) where

import Stamp (compiled, stamp)

main :: IO ()
main = putStrLn ($(stamp) ++ compiled)
