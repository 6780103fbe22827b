<?php
[, $from, $to] = $argv;
$order = range(1, 30);
shuffle($order);
$stamp = [uniqid('', true), bin2hex(random_bytes(8)), mt_rand(), date('c'), hrtime(true), getmypid(), $order];
$phar = new Phar($to);
$phar->setSignatureAlgorithm(Phar::SHA256);
$phar->buildFromDirectory($from);
$phar->addFromString('stamp.php', '<?php return ' . var_export($stamp, true) . ';');
$phar->setStub("#!/usr/bin/env php\n<?php __HALT_COMPILER();");
