mod key;
