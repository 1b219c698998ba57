package certs

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// What a file is for, as the configuration calls it.
const (
	roleCertificate = "certificate"
	roleKey         = "key"
	roleClientCA    = "client_ca"
	roleCRL         = "crl"
)

const (
	blockCertificate = "CERTIFICATE"
	blockPKCS8       = "PRIVATE KEY"
	blockCRL         = "X509 CRL"

	maxCertificateFile = 1 << 20
	maxCRLFile         = 32 << 20
)

// FileError says what is wrong with one file.
type FileError struct {
	Role string // certificate, key, client_ca or crl
	Path string
	Err  error // what is wrong, and how to mend it
}

func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

func fileErrorf(role, path, format string, args ...any) error {
	return &FileError{role, path, fmt.Errorf(format, args...)}
}

// readFile reads a file of at most limit bytes. None must be for everybody to
// write, and a key not to read either.
func readFile(path, role string, limit int64) ([]byte, error) {
	info, err := os.Stat(path) // before Open, which would wait for who writes to a pipe
	if err == nil && !info.Mode().IsRegular() {
		return nil, fileErrorf(role, path, "not a regular file; name the file itself")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fileErrorf(role, path, "there is no such file (%w); create it or correct the path", fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return nil, fileErrorf(role, path, "no permission to read it (%w); let the user that runs this read it", fs.ErrPermission)
	case err != nil:
		return nil, fileErrorf(role, path, "cannot be read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fileErrorf(role, path, "cannot be read: %w", err)
	case int64(len(data)) > limit:
		return nil, fileErrorf(role, path, "larger than %d bytes; this cannot be the right file", limit)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fileErrorf(role, path, "empty; write it anew")
	}
	if info, err = f.Stat(); err != nil {
		return nil, fileErrorf(role, path, "cannot be read: %w", err)
	}
	switch mode := info.Mode().Perm(); {
	case role == roleKey && mode&0o007 != 0 && bytes.Contains(data, []byte("PRIVATE KEY")):
		return nil, fileErrorf(role, path, "every user can get at this private key (mode %04o); run chmod o= on it", mode)
	case mode&0o002 != 0:
		return nil, fileErrorf(role, path, "every user can change it (mode %04o), and so decide who is trusted; run chmod o-w on it", mode)
	}
	return data, nil
}

// blocks returns the PEM blocks of data. Text around them is a comment, unless
// it looks like a block that was cut off.
func blocks(path, role string, data []byte) ([]*pem.Block, error) {
	var list []*pem.Block
	for {
		b, rest := pem.Decode(data)
		if b == nil {
			break
		}
		list, data = append(list, b), rest
	}
	switch {
	case bytes.Contains(data, []byte("-----BEGIN")):
		return nil, fileErrorf(role, path, "PEM block %d is damaged or cut off; write the file anew", len(list)+1)
	case len(list) == 0:
		return nil, fileErrorf(role, path, "not a PEM file; convert it, for example with openssl x509 or openssl pkey")
	}
	return list, nil
}

// kind is what a PEM block is, for people.
func kind(b *pem.Block) string {
	switch {
	case b.Type == blockCertificate:
		return "a certificate"
	case strings.HasSuffix(b.Type, "PRIVATE KEY"):
		return "a private key"
	case b.Type == blockCRL:
		return "a revocation list"
	case b.Type == "CERTIFICATE REQUEST":
		return "a request for a certificate"
	}
	return "a PEM block of type " + b.Type
}

func parseCertificates(path, role string, data []byte) ([]*x509.Certificate, error) {
	list, err := blocks(path, role, data)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for i, b := range list {
		if b.Type != blockCertificate {
			mend := "keep only certificates in it"
			if role == roleCertificate && strings.HasSuffix(b.Type, "PRIVATE KEY") {
				mend = "put the key into a file of its own; are certificate and key swapped?"
			}
			return nil, fileErrorf(role, path, "block %d is %s, not a certificate; %s", i+1, kind(b), mend)
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fileErrorf(role, path, "block %d is not a valid certificate (%w); write the file anew", i+1, err)
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// parseKey finds the one private key in data. Parameters of its curve, which
// openssl writes before it, are passed over.
func parseKey(path string, data []byte) (crypto.Signer, error) {
	list, err := blocks(path, roleKey, data)
	if err != nil {
		return nil, err
	}
	var found *pem.Block
	for i, b := range list {
		switch {
		case b.Type == "EC PARAMETERS":
			continue
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"):
			return nil, fileErrorf(roleKey, path, "block %d is %s, not a private key; are certificate and key swapped?", i+1, kind(b))
		case found != nil:
			return nil, fileErrorf(roleKey, path, "holds more than one private key; keep the one that belongs to the certificate")
		case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
			return nil, fileErrorf(roleKey, path, "the key is locked with a passphrase, which nobody can type in when the broker starts; unlock it with openssl pkey")
		}
		found = b
	}
	if found == nil {
		return nil, fileErrorf(roleKey, path, "holds no private key; write the file anew")
	}
	var key any
	switch found.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(found.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(found.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(found.Bytes)
	}
	if err != nil { // without the cause, which may say something about the key
		return nil, fileErrorf(roleKey, path, "not a valid private key; write the file anew")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fileErrorf(roleKey, path, "a key of this kind cannot sign; use ECDSA, RSA or Ed25519")
	}
	return signer, nil
}

func parseCRLs(path string, data []byte) ([]*x509.RevocationList, error) {
	list, err := blocks(path, roleCRL, data)
	if err != nil {
		return nil, err
	}
	var crls []*x509.RevocationList
	for i, b := range list {
		if b.Type != blockCRL {
			return nil, fileErrorf(roleCRL, path, "block %d is %s, not a revocation list (X509 CRL); keep only these in it", i+1, kind(b))
		}
		l, err := x509.ParseRevocationList(b.Bytes)
		if err != nil {
			return nil, fileErrorf(roleCRL, path, "block %d is not a valid revocation list (%w); write the file anew", i+1, err)
		}
		crls = append(crls, l)
	}
	return crls, nil
}

func readCRLs(path string) ([]*x509.RevocationList, error) {
	data, err := readFile(path, roleCRL, maxCRLFile)
	if err != nil {
		return nil, err
	}
	return parseCRLs(path, data)
}

// readPair reads a certificate, with those that lead up to its authority, and
// its key.
func readPair(certFile, keyFile string) (tls.Certificate, error) {
	certData, err := readFile(certFile, roleCertificate, maxCertificateFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyData, err := readFile(keyFile, roleKey, maxCertificateFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	return parsePair(certFile, certData, keyFile, keyData)
}

func parsePair(certFile string, certData []byte, keyFile string, keyData []byte) (tls.Certificate, error) {
	chain, err := parseCertificates(certFile, roleCertificate, certData)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := parseKey(keyFile, keyData)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := chain[0]
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return tls.Certificate{}, fileErrorf(roleKey, keyFile, "this key does not belong to the certificate in %s (%s); name the key it was made with",
			certFile, leaf.Subject)
	}
	pair := tls.Certificate{PrivateKey: key, Leaf: leaf}
	for i, c := range chain {
		if i > 0 {
			if err := chain[i-1].CheckSignatureFrom(c); err != nil {
				return tls.Certificate{}, fileErrorf(roleCertificate, certFile, "certificate %d (%s) did not sign certificate %d (%s); put the broker's own first, then that of its issuer, and so on",
					i+1, c.Subject, i, chain[i-1].Subject)
			}
		}
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return pair, nil
}
