{-# LANGUAGE CPP #-}
module Stamp (stamp, compiled) where

import Data.Time.Clock (getCurrentTime)
import Language.Haskell.TH (Exp, Q, runIO, stringE)

stamp :: Q Exp
stamp = runIO getCurrentTime >>= stringE . show

compiled :: String
compiled = __DATE__ ++ __TIME__
