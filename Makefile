# `make run` on a fresh machine mounts a volume and shows it; `make test` runs every test.

PREFIX ?= /usr/local
SBIN ?= /sbin
CARGO_PATH := $(HOME)/.cargo/bin
export PATH := $(CARGO_PATH):$(PATH)

.PHONY: run stop test test-live lint deny bench build install uninstall clean

run: ## Installs what is missing, builds, mounts a volume on a directory, writes and reads a file
	@scripts/deps.sh run
	@$(MAKE) --no-print-directory build
	@scripts/demo.sh start

stop: ## Stops what `make run` started
	@scripts/demo.sh stop

build: ## The release binary under its three names, in target/release
	cargo build --release --locked
	@ln -sfn cairnfs target/release/mount.cairnfs
	@ln -sfn cairnfs target/release/umount.cairnfs

test: ## Installs what the tests need, then format, lints and every test
	@scripts/deps.sh test
	@scripts/test.sh

# PROVIDER and BUCKET always; REGION, ENDPOINT, ACCOUNT, NAMESPACE where the provider has them.
export PROVIDER BUCKET REGION ENDPOINT ACCOUNT NAMESPACE
test-live: ## The life of a volume in your own bucket; your keys are in the store's usual variables
	cargo test --locked --features testing,live --test live -- --nocapture

lint: ## Format and lints alone
	@scripts/test.sh lint

deny: ## Licences, advisories and sources of all dependencies (needs cargo-deny)
	cargo deny check

bench: build ## Measures against JuiceFS, an empty FUSE file system and the raw store
	@scripts/deps.sh bench
	@scripts/bench.sh

install: build ## The binary, and its names for mount(8) and umount(8)
	install -D -m 755 target/release/cairnfs $(DESTDIR)$(PREFIX)/bin/cairnfs
	install -d $(DESTDIR)$(SBIN)
	ln -sfn $(PREFIX)/bin/cairnfs $(DESTDIR)$(PREFIX)/bin/mount.cairnfs
	ln -sfn $(PREFIX)/bin/cairnfs $(DESTDIR)$(SBIN)/mount.cairnfs
	ln -sfn $(PREFIX)/bin/cairnfs $(DESTDIR)$(SBIN)/umount.cairnfs

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/cairnfs $(DESTDIR)$(PREFIX)/bin/mount.cairnfs
	rm -f $(DESTDIR)$(SBIN)/mount.cairnfs $(DESTDIR)$(SBIN)/umount.cairnfs

clean: stop ## What was built; .deps (installed tools) and .demo/store (your files) stay
	cargo clean
