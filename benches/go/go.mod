module tasklets/benches

go 1.19
