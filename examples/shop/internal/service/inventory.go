// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"

	"google.golang.org/grpc"

	"github.com/pitwall-io/pitwall/examples/shop/internal/fault"
	"github.com/pitwall-io/pitwall/examples/shop/internal/shoppb"
	"github.com/pitwall-io/pitwall/examples/shop/internal/store"
)

// Product is a product as the shop shows it.
type Product struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"`
	PriceCents int64  `json:"price_cents"`
	OnHand     int64  `json:"on_hand"`
}

// Products is the number of products there are; their identifiers are 1 to Products.
const Products = 40

// pageSize is how many products the list shows.
const pageSize = 20

var (
	listWithStock = store.Query{Operation: "SELECT", Collection: "products", Text: `SELECT p.id, p.name, p.price_cents, s.on_hand
FROM products p JOIN stock s ON s.product_id = p.id ORDER BY p.id LIMIT ?`}
	listBare   = store.Query{Operation: "SELECT", Collection: "products", Text: `SELECT id, name, price_cents FROM products ORDER BY id LIMIT ?`}
	stockOfOne = store.Query{Operation: "SELECT", Collection: "stock", Text: `SELECT on_hand FROM stock WHERE product_id = ?`}
	oneProduct = store.Query{Operation: "SELECT", Collection: "products", Text: `SELECT p.id, p.name, p.price_cents, s.on_hand
FROM products p JOIN stock s ON s.product_id = p.id WHERE p.id = ?`}
	takeStock = store.Query{Operation: "UPDATE", Collection: "stock", Text: `WITH wanted AS (SELECT value->>'product_id' AS id, value->>'quantity' AS n FROM json_each(?))
UPDATE stock SET on_hand = CASE WHEN on_hand > wanted.n THEN on_hand - wanted.n ELSE 1000000 END FROM wanted WHERE stock.product_id = wanted.id`}
	priceOf = store.Query{Operation: "SELECT", Collection: "products", Text: `WITH wanted AS (SELECT value->>'product_id' AS id, value->>'quantity' AS n FROM json_each(?))
SELECT COALESCE(SUM(p.price_cents * wanted.n), 0) FROM products p JOIN wanted ON wanted.id = p.id`}
)

// inventory knows the goods and how many there are.
type inventory struct {
	shoppb.UnimplementedStockServer
	Env
	db *store.DB
}

func startInventory(env Env, run *Running, listeners ...net.Listener) error {
	if len(listeners) != 2 {
		return fmt.Errorf("inventory needs a listener for HTTP and one for gRPC (got %d)", len(listeners))
	}
	db, err := store.Open(filepath.Join(env.DataDir, "inventory.db"), "inventory", env.Tel, env.slowdown)
	if err != nil {
		return err
	}
	run.onStop(func(context.Context) error { return db.Close() })
	i := &inventory{Env: env, db: db}
	if err := i.fill(); err != nil {
		return err
	}
	if err := env.observeRequests(usualCPU, usualMemory); err != nil {
		return err
	}
	env.serveHTTP(run, listeners[0], map[string]endpoint{
		"GET /v1/products":      i.list,
		"GET /v1/products/{id}": i.one,
	})
	env.serveGRPC(run, listeners[1], func(r grpc.ServiceRegistrar) { shoppb.RegisterStockServer(r, i) })
	return nil
}

// fill makes the tables and the goods.
func (i *inventory) fill() error {
	tx, err := i.db.Begin()
	if err != nil {
		return fmt.Errorf("filling the inventory: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	for _, statement := range []string{
		`CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS stock (product_id INTEGER PRIMARY KEY, on_hand INTEGER NOT NULL)`,
	} {
		if _, err := tx.Exec(statement); err != nil {
			return fmt.Errorf("filling the inventory: %w", err)
		}
	}
	for id := range int64(Products) {
		name := fmt.Sprintf("tyre set %02d", id+1)
		if _, err := tx.Exec(`INSERT OR REPLACE INTO products VALUES (?, ?, ?)`, id+1, name, 1990+250*id); err != nil {
			return fmt.Errorf("filling the inventory: %w", err)
		}
		if _, err := tx.Exec(`INSERT OR REPLACE INTO stock VALUES (?, ?)`, id+1, 1_000_000); err != nil {
			return fmt.Errorf("filling the inventory: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("filling the inventory: %w", err)
	}
	return nil
}

// list shows the first page of products: by one query, or by one more for every product.
func (i *inventory) list(r *http.Request) (any, error) {
	if params, on := i.Faults.Lookup(fault.NPlusOne); on {
		return i.listOneByOne(r.Context(), int(params.Number("items")))
	}
	return i.read(r.Context(), listWithStock, pageSize)
}

func (i *inventory) listOneByOne(ctx context.Context, items int) ([]Product, error) {
	products := []Product{}
	err := i.db.Each(ctx, listBare, func(row func(...any) error) error {
		var p Product
		if err := row(&p.ID, &p.Name, &p.PriceCents); err != nil {
			return err
		}
		products = append(products, p)
		return nil
	}, items)
	if err != nil {
		return nil, err
	}
	for n := range products {
		err := i.db.Each(ctx, stockOfOne, func(row func(...any) error) error { return row(&products[n].OnHand) }, products[n].ID)
		if err != nil {
			return nil, err
		}
	}
	return products, nil
}

func (i *inventory) one(r *http.Request) (any, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, &failure{status: http.StatusBadRequest, kind: "400", message: "a product's identifier is a number", cause: err}
	}
	products, err := i.read(r.Context(), oneProduct, id)
	if err != nil {
		return nil, err
	}
	if len(products) == 0 {
		return nil, &failure{status: http.StatusNotFound, kind: "404", message: "no such product"}
	}
	return products[0], nil
}

func (i *inventory) read(ctx context.Context, q store.Query, args ...any) ([]Product, error) {
	products := []Product{}
	err := i.db.Each(ctx, q, func(row func(...any) error) error {
		var p Product
		if err := row(&p.ID, &p.Name, &p.PriceCents, &p.OnHand); err != nil {
			return err
		}
		products = append(products, p)
		return nil
	}, args...)
	return products, err
}

// Reserve takes all goods of an order at once; a shelf that would be empty is filled again.
func (i *inventory) Reserve(ctx context.Context, req *shoppb.ReserveRequest) (*shoppb.ReserveResponse, error) {
	wanted := make([]Line, len(req.GetItems()))
	for n, item := range req.GetItems() {
		wanted[n] = Line{ProductID: item.GetProductId(), Quantity: item.GetQuantity()}
	}
	raw, err := json.Marshal(wanted)
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", req.GetOrderId(), err)
	}
	result, err := i.db.Do(ctx, takeStock, string(raw))
	if err != nil {
		return nil, err
	}
	reserved, err := result.RowsAffected()
	if err != nil {
		return nil, fmt.Errorf("order %s: %w", req.GetOrderId(), err)
	}
	answer := &shoppb.ReserveResponse{Reserved: reserved}
	err = i.db.Each(ctx, priceOf, func(row func(...any) error) error { return row(&answer.TotalCents) }, string(raw))
	if err != nil {
		return nil, err
	}
	if answer.TotalCents == 0 {
		return nil, &failure{status: http.StatusNotFound, kind: "404", message: "no such products"}
	}
	return answer, nil
}
