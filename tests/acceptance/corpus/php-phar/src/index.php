<?php
echo "small\n";
